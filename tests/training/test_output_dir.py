"""What a run leaves in its directory: files that others may read as far as the umask says, and nothing half written."""

import pytest
from tiny_runs import assert_follow_umask, config, contents, full_disk, umask, write_lines

from textvae.training.train import train


@pytest.mark.parametrize("value", [0o022, 0o077])
def test_all_files_of_a_run_follow_the_umask(tmp_path, value, short_reports):
    corpus = write_lines(tmp_path / "corpus.txt")
    with umask(value):
        train(config(corpus, tmp_path / "run", max_steps=2, save_steps=1, report_to=["tensorboard"]))
    names = contents(tmp_path / "run")
    assert {"model.safetensors", "metrics.json", "checkpoint-2/model.safetensors", "checkpoint-2/optimizer.bin"} < {
        *names
    }
    assert_follow_umask(tmp_path / "run", value)


def test_a_checkpoint_that_does_not_fit_on_the_disk_is_not_there(tmp_path, short_reports):
    corpus, run = write_lines(tmp_path / "corpus.txt"), tmp_path / "run"
    train(config(corpus, run, max_steps=2, save_steps=1, save_total_limit=5))
    before = contents(run)
    sizes = {len(content) for name, content in before.items() if name.startswith("checkpoint-2/")}
    longer = config(corpus, run, max_steps=4, save_steps=1, save_total_limit=5, resume_from_checkpoint="latest")
    with full_disk(max(sizes) - 1), pytest.raises(OSError, match="checkpoint-3"):
        train(longer)
    after = contents(run)
    assert not [name for name in after if "checkpoint-3" in name]
    checkpoints = {name for name in before if name.startswith("checkpoint-")}
    assert all(after[name] == before[name] for name in checkpoints)
