"""What tools leave behind when they end with an error."""

import re


def check_sentence(done, sentence):
    """One line for the user, and nothing else that is a failure's."""
    code, out, err = done
    errors = [line for line in err.splitlines() if line.startswith("error: ")]
    assert code == 2, err
    assert len(errors) == 1, err
    assert re.search(sentence, errors[0]), errors[0]
    assert "Traceback" not in out + err


def check_nothing_half_written(folder):
    """Logs alone: no weights, predictions or annotations, and no temporary files."""
    written = {path.name for path in folder.rglob("*") if path.is_file()}
    logs = {name for name in written if name.startswith(("log.txt", "events."))}
    assert written - logs <= {"config.yaml", "metrics.json"}
