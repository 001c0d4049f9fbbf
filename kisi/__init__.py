"""Bills Kaspersky security by what an MSP's clients really use."""

__version__ = "0.1.0"
