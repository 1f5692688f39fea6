"""``python -m videogcrf_det``: the same as the command ``videogcrf``."""

from videogcrf_det.commands import main

if __name__ == "__main__":
    main()
