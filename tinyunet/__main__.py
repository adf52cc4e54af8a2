"""The command ``tinyunet``, which is ``python -m tinyunet``, too: from the first instant on."""

import signal
import sys


def command() -> None:
    """Run the command line, and end the process with its exit status.

    NumPy and all that comes with it take half a second to import. It is done in here, so that
    Ctrl-C has its one line even then. A second Ctrl-C is ignored: all is being cleared up already.
    """
    pressed = []

    def stop(*signal_and_frame) -> None:
        pressed.append(True)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        raise KeyboardInterrupt

    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, stop)
    try:
        from tinyunet.cli.main import main

        status = main()
    except BaseException:
        if not pressed:  # but if so, whatever it is: an import turns it into an ImportError
            raise
        print("tinyunet: stopped", file=sys.stderr)
        status = 130
    sys.exit(status)


if __name__ == "__main__":
    command()
