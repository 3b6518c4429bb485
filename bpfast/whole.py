"""Files that are written whole or not at all."""

import os
import uuid
from pathlib import Path


def write(file, content):
    """Write bytes to a file in place of what it held; whoever reads meanwhile sees all of them or none."""
    file = Path(file)
    temporary = file.with_name(f"{file.name}.{uuid.uuid4().hex}.tmp")
    try:
        temporary.write_bytes(content)
        os.replace(temporary, file)
    except OSError as error:  # of the file that was asked for
        raise type(error)(error.errno, error.strerror, str(file)) from None
    finally:
        temporary.unlink(missing_ok=True)
