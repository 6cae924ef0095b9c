"""Hub id -> a local folder of its data files, through huggingface_hub's cache."""

from pathlib import Path

from huggingface_hub import snapshot_download
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OfflineModeIsEnabled

from rayplay.data.folders import ARCHIVES, ENDINGS
from rayplay.errors import DataError

PATTERNS = (*(f"*{ending}" for ending in (*ENDINGS, *ARCHIVES)), "LICENSE*", "LICENCE*", "README.md")


def fetch(name: str) -> Path:
    """Download a data set's files (never its code), or take them from the cache.

    Raises:
        DataError: There is neither such a path nor such a data set, or the hub cannot be reached.
    """
    try:
        return Path(snapshot_download(name, repo_type="dataset", allow_patterns=list(PATTERNS)))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OfflineModeIsEnabled, OSError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0][:200]
        raise DataError(
            f"{name}: no such path here, and the hub did not give it as a data set ({reason}); "
            "give a local file or folder, or log in where the set is gated"
        ) from error
