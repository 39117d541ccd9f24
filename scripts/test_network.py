"""The run of scripts/test-network: the model test with its vaults behind SFTP."""

import argparse
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

from network_systems import Sshfs, end_in_order


def run_model(arguments):
    backing = Sshfs(Path(tempfile.mkdtemp(dir=arguments.work)))
    backing.mount()
    try:
        environment = os.environ | {
            "KEEPFS_TEST_BACKING": str(backing.point),
            "KEEPFS_MODEL_CASES": str(arguments.cases),
        }
        command = ["cargo", "test", "--locked", "--test", "model", "--", "--nocapture"]
        return run_to_end(command, environment)
    finally:
        backing.unmount()


def run_to_end(command, environment):
    """Whether the command ended well. What it started ends before the backing goes."""
    with subprocess.Popen(command, env=environment, start_new_session=True) as tests:
        try:
            return tests.wait() == 0
        except BaseException:
            os.killpg(tests.pid, signal.SIGTERM)
            raise


def main():
    parser = argparse.ArgumentParser(prog="scripts/test-network")
    parser.add_argument("--work", required=True, type=Path)
    parser.add_argument("--cases", type=int, default=40)
    arguments = parser.parse_args()
    end_in_order()
    if not run_model(arguments):
        sys.exit("the model test failed on sshfs")


if __name__ == "__main__":
    main()
