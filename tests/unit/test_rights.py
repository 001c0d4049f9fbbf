"""Whose files are used, and which are pointed out."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from kisi.files import exposures, is_foreign, private_folder, why_not_used
from tests.owners import belongs_to, posix, somebody

pytestmark = posix


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A file three folders down, for its owner alone."""
    path = tmp_path / "a" / "b" / "file"
    private_folder(path.parent)
    path.touch(mode=0o600)
    return path


def found(path: Path) -> list[str]:
    return [each.what.replace(str(path.parent.parent.parent), "") for each in exposures(path)]


def test_what_is_its_owners_alone_is_used(file: Path):
    assert found(file) == []
    assert why_not_used(file) == ""
    assert found(file.with_name("missing")) == []


@pytest.mark.parametrize("parent", [0, 1, 2])
def test_neither_a_file_nor_any_folder_above_it_may_be_another_users(
    file: Path, monkeypatch: pytest.MonkeyPatch, parent: int
):
    place = (file, *file.parents)[parent]
    belongs_to(monkeypatch, place, somebody())
    said = why_not_used(file)
    assert f"{place} belongs to the user " in said
    assert "kisi does not use it. As root, run `chown " in said
    belongs_to(monkeypatch, place, 0)
    assert why_not_used(file) == ""


def test_an_owner_without_an_account_may_have_folders_and_no_file(
    file: Path, monkeypatch: pytest.MonkeyPatch
):
    belongs_to(monkeypatch, file.parent, 4321)
    assert why_not_used(file) == ""
    (pointed_out,) = found(file)
    assert "/a/b belongs to the id 4321, without an account, and not to " in pointed_out
    belongs_to(monkeypatch, file, 4321)
    assert "/file belongs to the id 4321" in why_not_used(file)


@pytest.mark.parametrize(("mode", "whose"), [(0o720, "g"), (0o702, "o"), (0o722, "go")])
def test_a_folder_that_others_can_write_to_is_pointed_out_at_any_height(
    file: Path, mode: int, whose: str
):
    above = file.parent.parent
    above.chmod(mode)
    os.chown(above, -1, os.getegid())
    shared = [each for each in exposures(file) if each.place == above]
    if whose == "g":  # no other user is in the group, or some are
        assert [each.remedy for each in shared] in ([], [f"Run `chmod g-w {above}`."])
    else:
        (each,) = shared
        assert each.what == f"Every user of this machine can replace the files in {above}."
        assert each.remedy in (f"Run `chmod {whose}-w {above}`.", f"Run `chmod o-w {above}`.")
        assert not each.refused
    above.chmod(mode | 0o1000)
    assert not [each for each in exposures(file) if each.place == above]


@pytest.mark.parametrize(("members", "is_shared"), [((), False), ((0,), False), ((4321,), True)])
def test_a_group_counts_if_another_user_is_in_it(
    file: Path, monkeypatch: pytest.MonkeyPatch, members: tuple[int, ...], is_shared: bool
):
    import grp
    import pwd

    def account(uid: int, name: str) -> pwd.struct_passwd:
        return pwd.struct_passwd((name, "x", uid, 77, "", "/", ""))

    accounts = [account(os.geteuid(), "me"), *(account(uid, f"u{uid}") for uid in members)]
    monkeypatch.setattr(pwd, "getpwall", lambda: accounts)
    staff = grp.struct_group(("staff", "x", 77, ["me"]))
    monkeypatch.setattr(grp, "getgrgid", lambda _: staff)
    monkeypatch.setattr(grp, "getgrall", lambda: [staff])
    file.parent.chmod(0o770)
    real = Path.stat

    def seen(self: Path, **more: bool) -> os.stat_result:
        status = real(self, **more)
        return os.stat_result((*status[:5], 77, *status[6:])) if self == file.parent else status

    monkeypatch.setattr(Path, "stat", seen)
    assert found(file) == ["The group staff can replace the files in /a/b."] * is_shared


def test_a_link_and_what_leads_to_its_file_are_judged_too(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    link = tmp_path / "link"
    link.symlink_to("a/b/file")
    assert why_not_used(link) == ""
    for place in (link, file.parent, file):
        with monkeypatch.context() as patch:
            belongs_to(patch, place, somebody())
            assert f"{place} belongs to " in why_not_used(link)


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o277])
def test_folders_are_for_their_owner_alone_whatever_the_umask(tmp_path: Path, umask: int):
    tmp_path.chmod(0o755)
    before = os.umask(umask)
    try:
        private_folder(tmp_path / "one" / "two" / "three")
        private_folder(tmp_path / "one" / "two" / "three")
    finally:
        os.umask(before)
    made = [tmp_path / "one", tmp_path / "one/two", tmp_path / "one/two/three"]
    assert [folder.stat().st_mode & 0o7777 for folder in made] == [0o700] * 3
    assert tmp_path.stat().st_mode & 0o777 == 0o755


def test_where_files_have_no_owners_none_is_foreign(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delattr(os, "geteuid")
    assert not is_foreign(os.stat_result([0] * 10))
