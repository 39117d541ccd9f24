"""Runs a command on a terminal of its own and answers its prompts.

Standard input: one JSON object, {"argv": [...], "steps": [[PROMPT, ANSWER], ...]};
prompts are waited for in turn, as plain text. Standard output: one JSON object
with all that the terminal showed, the exit code, and whether the terminal
showed what is typed in the end.
"""

import json
import os
import pty
import select
import sys
import termios
import time

PATIENCE = 60
INTERRUPT = "\x03"


def main() -> None:
    job = json.load(sys.stdin)
    pid, terminal = pty.fork()
    if pid == 0:
        os.execv(job["argv"][0], job["argv"])
    shown = b""
    seen = 0

    def more() -> bool:
        nonlocal shown
        ready, _, _ = select.select([terminal], [], [], max(0, end - time.time()))
        if not ready:
            os.kill(pid, 9)
            sys.exit(f"waited in vain; on the terminal: {shown.decode()!r}")
        try:
            piece = os.read(terminal, 4096)
        except OSError:
            return False
        shown += piece
        return bool(piece)

    for prompt, answer in job["steps"]:
        end = time.time() + PATIENCE
        while (at := shown.find(prompt.encode(), seen)) < 0:
            if not more():
                sys.exit(f"ended before {prompt!r}; on the terminal: {shown.decode()!r}")
        seen = at + len(prompt)
        os.write(terminal, answer.encode() + (b"" if answer == INTERRUPT else b"\n"))
    end = time.time() + PATIENCE
    while more():
        pass
    _, status = os.waitpid(pid, 0)
    code = os.waitstatus_to_exitcode(status)
    echo = bool(termios.tcgetattr(terminal)[3] & termios.ECHO)
    print(json.dumps({"shown": shown.decode(), "code": code, "echo": echo}))


main()
