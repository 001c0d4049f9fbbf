"""Business Hub, Endpoint Security Cloud and Security for Office 365, from exported CSV reports.

No public interface is known that tells what its companies use, so a person or a job exports a
report and kisi reads the newest file. The portal shows devices and mailboxes a company
(https://support.kaspersky.co.uk/kescloud/141213) and licence type and status
(https://support.kaspersky.com/Cloud/1.0/de-DE/159845.htm); the columns of its exports are not
documented, which is why all headings and words can be set.

A report is trusted whole or not at all: `report` has the settings and turns a file's content into
records, `source` finds the files and turns records into readings.
"""
