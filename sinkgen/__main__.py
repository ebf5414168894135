"""``python -m sinkgen`` and the command ``sinkgen``."""


def main():
    """Run the command line, or say in one line what it lacks."""
    try:
        from sinkgen.cli.app import app
    except ModuleNotFoundError as error:
        if error.name not in ("typer", "rich"):
            raise
        raise SystemExit("sinkgen: the command line needs typer and rich: pip install 'sinkgen[cli]'") from None
    app(prog_name="sinkgen")


if __name__ == "__main__":
    main()
