"""What `kisi init` writes: a kisi.toml with every key explained, to be filled in.

Lines that start with `# ` explain; lines that start with `#` and no space are settings with their
defaults or an example, to be used by removing the `#`.
"""

from __future__ import annotations

from pathlib import Path

from kisi.errors import ConfigError, StateError

TEMPLATE = """\
# kisi.toml: where kisi reads usage, where it bills it, and when it asks first.
#
# What is billed to whom is in mapping.toml; `kisi map` writes it.
# Secrets never stand in this file. A key that holds one is a reference:
#   "env:NAME"              the environment variable NAME
#   "file:PATH"             a file that only its owner can read (chmod 600)
#   "credential:NAME"       a credential of a systemd service (LoadCredential=)
#   "keyring:SERVICE/USER"  the system's keyring (pipx inject kisi keyring)
# Left out, it is the variable KISI_<SECTION NAME>_<KEY>, such as KISI_HQ_PASSWORD.
# Relative paths start from the folder of this file.
# Lines like "#key = value" are settings that are not in use; remove the # to use them.

#mapping = "mapping.toml"

# The folder of the journal, the lock and the logs. Default: the platform's folder for state.
#state_dir = "state"

# The time zone of your invoices: it decides what day today is. Default: the system's.
#timezone = "Europe/Berlin"

# For how many days `kisi explain` can show the devices behind a quantity.
#evidence_days = 400

# --- Where usage is read: one table for each Kaspersky system, with a name of your choice ---

# A Kaspersky Security Center Administration Server. Its virtual servers are the tenants.
[sources.hq]
kind = "ksc"
# The OpenAPI port is 13299 unless it was changed.
url = ""
# An account of its own that can read every virtual server.
user = ""
#password = "env:KISI_HQ_PASSWORD"
# For a Windows or domain account instead of an internal user of Security Center:
#internal_user = false
#domain = "EXAMPLE"
# The server's certificate is usually self-signed, and must then be pinned: by a file (the server
# has it as klserver.cer), or by a fingerprint, which `kisi check --online` prints.
#ca_files = ["klserver.cer"]
#fingerprints = ["sha256:0000000000000000000000000000000000000000000000000000000000000000"]
# Virtual servers that are read at once, 1 to 16.
#workers = 4

# Exported reports of Kaspersky Business Hub: Endpoint Security Cloud, Security for Microsoft
# Office 365.
#[sources.hub]
#kind = "business-hub"
# The newest file of each pattern is read.
#files = ["exports/*.csv"]
# An older file fails the source, so that old numbers are never billed.
#max_age_hours = 72
# The report's own headings, where they differ from the names on the left.
#[sources.hub.columns]
#company = "Company"
#application = "Application"
#category = "Category"
#quantity = "Quantity"
#status = "Status"
#device = "Device"
#operating_system = "Operating system"

# --- Where it is billed: one table for each PSA, with a name of your choice -----------------

# ConnectWise Manage (PSA). Lines are agreement additions.
[psa.cw]
kind = "connectwise"
# In the cloud the host with api-: https://api-eu.myconnectwise.net, https://api-na.myconnectwise.net
url = ""
# The company id of the login screen.
company = ""
# The keys of an API member, and the client id of your integration (developer.connectwise.com).
#public_key = "env:KISI_CW_PUBLIC_KEY"
#private_key = "env:KISI_CW_PRIVATE_KEY"
#client_id = "env:KISI_CW_CLIENT_ID"
# Requests at once, 1 to 16.
#workers = 4

# Tigerpaw. Lines are additional charges.
#[psa.tp]
#kind = "tigerpaw"
#url = "https://api.yourhost.example"
#public_key = "env:KISI_TP_PUBLIC_KEY"
#private_key = "env:KISI_TP_PRIVATE_KEY"
# The External Product that accounts must be cross-referenced to.
#external_product = "Kaspersky"
# "report" shows every change and writes nothing; "soap" writes, with the two secrets below, once
# `kisi check --probe-tigerpaw` has proven the template on a scratch agreement.
#write = "report"
#soap_user = "env:KISI_TP_SOAP_USER"
#soap_password = "env:KISI_TP_SOAP_PASSWORD"
#soap_template = "charges.xml"
#soap_template_verified = false

# --- What counts. Every default is the literal reading of Kaspersky's rule ------------------

[counting]
# Subscriptions inside their grace term.
#grace = false
# Subscriptions that are soft cancelled.
#soft_cancelled = false
# OEM keys.
#oem = false
# Devices whose activation is pending.
#pending = false
# Keys that are not in the virtual server's own storage.
#reported_keys = false
# Devices with an unknown system: "windows_workstations", "windows_servers", "non_windows", "hold".
#unknown_device = "non_windows"
# List counted devices that were not seen for more than so many days; 0 lists none.
#unseen_days = 0

# --- When a change waits for a person -------------------------------------------------------

[guards]
# Changes are judged against the extreme quantity of so many days.
#baseline_days = 30
# A change is held if it is beyond both the percentage and the units.
#decrease_percent = 25
#decrease_units = 3
#increase_percent = 50
#increase_units = 10
# A new line above this quantity.
#create_units = 500
# All lines of a PSA together, downwards.
#run_percent = 10
#run_units = 50
# A line that kisi never wrote and that differs: "hold" or "allow".
#adopt = "hold"
# A line that a person changed since: "hold" or "overwrite".
#drift = "hold"

# --- Who is told ----------------------------------------------------------------------------

[notify]
# The address of a check at healthchecks.io or alike: /start, then /<exit code>.
#healthcheck = "env:KISI_PING_URL"
# Receives the run's JSON summary.
#webhook = "env:KISI_WEBHOOK_URL"
"""

NEXT_STEPS = """\
1. Fill in url, user and company in {path}, and remove the tables that you do not need.
2. Set the secrets: {secrets}.
3. Run `kisi check`, then `kisi check --online`: it prints the certificate's fingerprint to pin.
4. Run `kisi map` to say what is billed to whom, or `kisi map list` for the ids to write by hand.
5. Run `kisi preview`. It writes nothing.
6. Run `kisi sync`, then daily from cron, systemd or the Task Scheduler."""
"""What to do after `kisi init`."""

_SECRETS = "KISI_HQ_PASSWORD, KISI_CW_PUBLIC_KEY, KISI_CW_PRIVATE_KEY, KISI_CW_CLIENT_ID"


def write_template(path: Path) -> str:
    """Writes the template to `path` and says what to do next.

    An existing file, or a link, is never replaced, and a half-written file is not left behind.

    Returns:
        The next steps, for the operator.

    Raises:
        ConfigError: There is something at `path` already, or its folder does not exist.
        StateError: It cannot be written.
    """
    made = False
    try:
        with path.open("x", encoding="utf-8", newline="\n") as file:
            made = True
            file.write(TEMPLATE)
    except FileExistsError:
        raise ConfigError(
            f"{path} exists already, and kisi does not overwrite it.",
            remedy="Edit it, or choose another place: `kisi init --config FILE`.",
        ) from None
    except FileNotFoundError:
        raise ConfigError(
            f"{path} was not written, because there is no folder {path.parent}.",
            remedy="Make the folder, then run `kisi init` again.",
        ) from None
    except OSError as error:
        if made:
            path.unlink(missing_ok=True)
        raise StateError(
            f"{path} could not be written: {error.strerror}.",
            remedy="Choose a folder that you can write to: `kisi init --config FILE`.",
        ) from error
    return NEXT_STEPS.format(path=path, secrets=_SECRETS)
