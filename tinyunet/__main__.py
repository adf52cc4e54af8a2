"""The command ``tinyunet``, which is ``python -m tinyunet``, too: from the first instant on."""

import signal
import sys


def command() -> None:
    """Run the command line, and end the process with its exit status.

    NumPy and all that comes with it take half a second to import. It is done in here, so that
    Ctrl-C has its one line even then.
    """
    try:
        from tinyunet.cli.main import main

        status = main()
    except KeyboardInterrupt:
        print("tinyunet: stopped", file=sys.stderr)
        status = 130
    if status == 130:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # a second Ctrl-C has nothing left to stop
    sys.exit(status)


if __name__ == "__main__":
    command()
