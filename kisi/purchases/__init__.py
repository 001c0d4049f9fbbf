"""What the MSP buys: a distributor's file, read whole, matched, and held against what is billed."""
