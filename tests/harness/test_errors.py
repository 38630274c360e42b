from serbench.harness.errors import PRINTED, CorpusError


def test_a_message_repeats_the_first_findings_and_counts_the_others() -> None:
    findings = tuple(f"line {i}" for i in range(PRINTED + 2))
    error = CorpusError("wrong", findings)
    lines = str(error).splitlines()
    assert lines[:2] == ["wrong", "  line 0"]
    assert lines[-2:] == [f"  line {PRINTED - 1}", "  and 2 more"]
    assert error.findings == findings
    assert str(CorpusError("wrong", findings[:PRINTED])).splitlines()[-1] == f"  line {PRINTED - 1}"
    assert str(CorpusError("wrong")) == "wrong"
