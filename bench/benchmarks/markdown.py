"""Markdown tables, printed row by row."""


def head(*titles):
    """Print the titles, after an empty line."""
    print()
    row(*titles)
    row(*("---" for _ in titles))


def row(*cells):
    """Print a row as soon as it is known."""
    print(f"| {' | '.join(map(str, cells))} |", flush=True)
