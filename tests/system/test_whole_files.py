"""Files that appear whole or not at all."""

import pytest

from hifacegan_plugin.system.files import check_folder, made_folder, whole_file


def test_the_folder_is_made(tmp_path):
    with whole_file(tmp_path / 'new/folder/a.txt') as part:
        part.write_text('all')
    assert [path.name for path in (tmp_path / 'new/folder').iterdir()] == ['a.txt']


def test_errors_name_the_file_rather_than_its_draft(tmp_path):
    target = tmp_path / 'a.txt'
    with pytest.raises(FileNotFoundError) as missing, whole_file(target) as part:
        part.read_text()
    target.mkdir()
    with pytest.raises(OSError) as taken, whole_file(target) as part:
        part.write_text('all')
    assert str(missing.value) == f"[Errno 2] No such file or directory: '{target}'"
    assert str(taken.value).endswith(f": '{target}'")
    assert list(tmp_path.iterdir()) == [target]


def test_errors_about_other_files_stay_as_they_are(tmp_path):
    with pytest.raises(FileNotFoundError) as missing, whole_file(tmp_path / 'a.txt'):
        (tmp_path / 'b.txt').read_text()
    assert missing.value.filename == str(tmp_path / 'b.txt')


def test_a_failure_leaves_no_empty_folder(tmp_path):
    with pytest.raises(ZeroDivisionError), whole_file(tmp_path / 'new/folder/a.txt'):
        raise ZeroDivisionError
    assert not list(tmp_path.iterdir())
    (tmp_path / 'old').mkdir()
    with pytest.raises(ZeroDivisionError), made_folder(tmp_path / 'old/new'):
        (tmp_path / 'old/new/a.txt').touch()
        raise ZeroDivisionError
    assert (tmp_path / 'old/new/a.txt').is_file()
    with pytest.raises(ZeroDivisionError), whole_file(tmp_path / 'empty/a.txt'):
        (tmp_path / 'empty/b.txt').touch()
        raise ZeroDivisionError
    assert [path.name for path in (tmp_path / 'empty').iterdir()] == ['b.txt']


def test_folders_that_cannot_be_written_are_named(tmp_path, monkeypatch):
    (tmp_path / 'link').symlink_to('nowhere')
    with pytest.raises(ValueError, match=f'^path: {tmp_path}/link is a link to nothing'):
        check_folder('path', tmp_path / 'link/mine')
    (tmp_path / 'file').touch()
    with pytest.raises(ValueError, match=f'^path: {tmp_path}/file is a file, not a folder'):
        check_folder('path', tmp_path / 'file/mine')
    check_folder('path', tmp_path / 'new/mine')
    monkeypatch.setattr('os.access', lambda *_: False)  # root may write anywhere
    with pytest.raises(ValueError, match=f'^path: {tmp_path} is read-only'):
        check_folder('path', tmp_path / 'new/mine')
