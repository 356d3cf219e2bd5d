"""Optional libraries: there, absent, or there and broken."""

import subprocess
import sys

import pytest

from narravid.errors import MissingExtraError
from narravid.extras import import_extra


def test_a_library_that_is_there():
    assert import_extra("json", extra="text", feature="this") is sys.modules["json"]


def test_an_absent_one_is_named_with_what_installs_it():
    with pytest.raises(MissingExtraError, match=r"CPD needs nowhere_to_be.found, .*'narravid\[text\]'"):
        import_extra("nowhere_to_be.found", extra="text", feature="CPD")


def test_a_broken_one_is_not_called_absent(tmp_path, monkeypatch):
    (tmp_path / "broken_library.py").write_text("import nowhere_to_be_found")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModuleNotFoundError, match="nowhere_to_be_found"):
        import_extra("broken_library", extra="text", feature="CPD")


def test_openvino_reports_its_use_to_nobody():
    code = (
        "import sys; from narravid.extras import import_extra; "
        "import_extra('openvino', extra='fast', feature='this'); "
        "sys.exit(sys.modules.get('openvino_telemetry') is not None)"
    )
    pytest.importorskip("openvino")
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
