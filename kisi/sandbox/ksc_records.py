"""Records of the simulated Administration Server in the form they have on the wire.

Inside a `params` container, types that JSON cannot tell apart are wrapped
(`{"type": "datetime", "value": "2026-11-21T00:00:00Z"}`), attributes are sorted by name, and an
attribute without a value is left out
(https://support.kaspersky.com/help/KSC/14/KSCAPI/index.html).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from typing import Any

from kisi.sandbox.licences import Device, Key, KeyUse, VirtualServer

Params = dict[str, Any]

_DATES = frozenset(
    {
        "KLHST_WKS_CREATED",
        "KLHST_WKS_LAST_VISIBLE",
        "KLLICSRV_EXPIRATION_TIME",
        "KLLICSRV_INSTALL_TIME",
        "KLLIC_CREATION_DATE",
        "KLLIC_LIMIT_DATE",
        "KLLIC_SUBSCRINFO_ENDDATE",
        "KLVSRV_CREATED",
    }
)
_LONGS = frozenset({"KLSRV_ST_VIRT_SERVER_ID"})


class PxgError(Exception):
    """A method failed: HTTP 200 with an error object instead of a result.

    Args:
        code: Kaspersky's number, for example 1184 for missing rights.
        module: The part of the server, for example `KLSTD`.
        message: English text.
    """

    def __init__(self, code: int, module: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.module = module

    def body(self) -> Params:
        """The answer's body."""
        return pxg_error(self.code, self.module, str(self))


def pxg_error(code: int, module: str = "KLSTD", message: str = "Failed") -> Params:
    """The body of an answer that says a method failed; for `faults.add("status", code=200)`."""
    return {
        "PxgError": {
            "code": code,
            "file": "",
            "line": 0,
            "message": message,
            "module": module,
            "subcode": 0,
        }
    }


def encode(values: Mapping[str, Any], wanted: Collection[str] | None = None) -> Params:
    """Sort, leave out what has no value or is not `wanted`, wrap what must be wrapped."""
    return {
        name: _wrap(name, value)
        for name, value in sorted(values.items())
        if value is not None and (wanted is None or name in wanted)
    }


def container(params: Params) -> Params:
    """Encoded params as an element of an array, or as a member of other params."""
    return {"type": "params", "value": params}


def _wrap(name: str, value: Any) -> Any:  # noqa: ANN401 - JSON is anything
    if name in _DATES:
        return {"type": "datetime", "value": _date(value)}
    if name in _LONGS:
        return {"type": "long", "value": value}
    return value


def _date(value: datetime | str) -> str:
    if isinstance(value, str):
        return value
    return value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def of_server(server: VirtualServer) -> Params:
    """An element of VServers.GetVServers."""
    first_group = 160 + 8 * server.id
    return {
        "KLVSRV_CREATED": server.created,
        "KLVSRV_DN": server.name,
        "KLVSRV_ENABLED": server.enabled,
        "KLVSRV_GROUPS": first_group + 1,
        "KLVSRV_GRP": server.group_id,
        "KLVSRV_HST_UID": server.uid,
        "KLVSRV_ID": server.id,
        "KLVSRV_LIC_ENABLED": True,
        "KLVSRV_SUPER": first_group,
        "KLVSRV_UID": server.uid,
        "KLVSRV_UNASSIGNED": first_group + 2,
    }


def of_key(key: Key) -> Params:
    """An element of LicenseKeys.EnumKeys. The key's data are never among them."""
    return {
        "KLLICSRV_AUTOKEY": key.automatic,
        "KLLICSRV_KEY_INSTALLED": key.installed,
        "KLLIC_APP_ID": key.app_id,
        "KLLIC_CREATION_DATE": key.created,
        "KLLIC_KEY_TYPE": None if key.key_type is None else int(key.key_type),
        "KLLIC_LICTYPE_IS_SUBSCRIPTION": key.subscription,
        "KLLIC_LIC_COUNT": key.licence_count,
        "KLLIC_LIMIT_DATE": key.limit_date,
        "KLLIC_NHOSTS_ASCURRENT": key.uses_as(current=True),
        "KLLIC_NHOSTS_ASNEXT": key.uses_as(current=False),
        "KLLIC_PROD_NAME": key.name,
        "KLLIC_PROD_SUITE_ID": key.suite_id,
        "KLLIC_SERIAL": key.serial,
        "KLLIC_SUBSCRINFO_ENDDATE": key.end_date,
        "KLLIC_SUBSCRINFO_ENDDATETYPE": None
        if key.end_date_type is None
        else int(key.end_date_type),
        "KLLIC_SUBSCRINFO_GRACETERM": key.grace_days,
        "KLLIC_SUBSCRINFO_STATE": None if key.state is None else int(key.state),
    }


def of_use(use: KeyUse) -> Params:
    """An element of LicenseKeys.AcquireKeyHosts. Its group id is text, a host's is a number."""
    return {
        "KLLICSRV_EXPIRATION_TIME": use.expires,
        "KLLICSRV_HOSTDN": use.name,
        "KLLICSRV_HOSTNAME": use.host_id,
        "KLLICSRV_HOST_CURRENT": use.current,
        "KLLICSRV_HOST_GRPID": str(use.group_id),
        "KLLICSRV_HOST_GRPNAME": use.group,
        "KLLICSRV_INSTALL_TIME": use.installed,
        "KLLICSRV_PRODUCT": use.product,
        "KLLICSRV_VERSION": use.version,
        "KLLIC_LIC_IS_PENDING_SUBSCRIPTION": use.pending,
    }


def of_host(device: Device) -> Params:
    """An element of HostGroup.FindHosts."""
    return {
        "KLHST_WKS_CREATED": device.created,
        "KLHST_WKS_CTYPE": device.system.ctype,
        "KLHST_WKS_DN": device.name,
        "KLHST_WKS_GROUPID": device.group_id,
        "KLHST_WKS_HOSTNAME": device.host_id,
        "KLHST_WKS_LAST_VISIBLE": device.last_visible,
        "KLHST_WKS_OS_NAME": device.system.name,
        "KLHST_WKS_PTYPE": device.system.ptype,
        "KLHST_WKS_STATUS": device.status,
    }


def of_statistics(server: VirtualServer, now: datetime) -> Params:
    """An element of KLSRV_ST_VIRT_SERVERS_DETAILS in HostGroup.GetInstanceStatistics."""
    commercial = [key for key in server.keys if key.key_type in {1, 6} and _runs(key, now)]
    return {
        "KLSRV_ST_VIRT_SERVER_ID": server.id,
        "KLSRV_ST_VIRT_SERVER_NAME": server.name,
        "KLSRV_ST_VSERVER_COM_LIC_EXISTS": bool(commercial),
        "KLSRV_ST_VSERVER_HOST_COUNT": len(server.devices),
        "KLSRV_ST_VSERVER_REAL_HOST_COUNT": len(server.devices),
    }


def _runs(key: Key, now: datetime) -> bool:
    return not isinstance(key.limit_date, datetime) or key.limit_date > now
