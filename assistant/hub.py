"""Files from the Hugging Face hub or its cache, and a plain sentence for each way that can fail.

Knows repositories and files; knows no models and no prompts. huggingface_hub does the work and
finds the token itself (HF_TOKEN, or `hf auth login`). No sentence quotes the library's own
messages: those may hold signed addresses or request headers.
"""

import errno
import logging
import warnings
from collections.abc import Callable
from pathlib import Path

from huggingface_hub import (
    constants,
    get_hf_file_metadata,
    get_token,
    hf_hub_download,
    hf_hub_url,
    snapshot_download,
)
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RemoteEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.utils import logging as hub_logging

from assistant.errors import HubError

_NO_SPACE = "Not enough free disk space"  # how the library's warning begins


def fetch_file(
    repo: str, filename: str, *, repo_type: str = "model", revision: str | None = None
) -> Path:
    """The path of one file in the hub's cache, fetched if it is not there or has changed.

    repo: "owner/name". repo_type: "model" or "dataset". revision: a branch, tag or commit; None is
    the main branch. The path's folder is named after the commit. If the hub cannot be reached or
    refuses, a cached copy is good enough. Raises HubError.
    """

    def download(local_files_only: bool = False) -> str:
        return hf_hub_download(
            repo,
            filename,
            repo_type=repo_type,
            revision=revision,
            local_files_only=local_files_only,
        )

    return _fetch(download, repo, filename, repo_type, revision)


def fetch_snapshot(repo: str, *, revision: str | None, allow_patterns: list[str]) -> Path:
    """The folder in the hub's cache with those files of a model that match `allow_patterns`.

    revision: best a commit, so that all files belong together. If the hub cannot be reached, the
    folder holds what is cached of them. Raises HubError.
    """

    def download(local_files_only: bool = False) -> str:
        return snapshot_download(
            repo,
            revision=revision,
            allow_patterns=allow_patterns,
            local_files_only=local_files_only,
        )

    return _fetch(download, repo, "config.json", "model", revision)


def _fetch(
    download: Callable[..., str], repo: str, filename: str, repo_type: str, revision: str | None
) -> Path:
    """Ask once whether `filename` is there, then download.

    The library alone would ask again and again for minutes before it says that there is no
    network, and would take a refusal for a lost connection.
    """
    hub_logging.set_verbosity(logging.ERROR)
    try:
        try:
            get_hf_file_metadata(hf_hub_url(repo, filename, repo_type=repo_type, revision=revision))
        except (RemoteEntryNotFoundError, RevisionNotFoundError):
            raise
        except Exception:
            try:
                return Path(download(local_files_only=True))
            except LocalEntryNotFoundError:
                pass
            raise
        with warnings.catch_warnings():
            warnings.filterwarnings("error", _NO_SPACE)  # now, not after hours of downloading
            return Path(download())
    except Exception as error:  # whatever the client, its transport or the disk may raise
        raise HubError(_sentence(error, repo, filename, repo_type, revision)) from error


def _sentence(
    error: BaseException, repo: str, filename: str, repo_type: str, revision: str | None
) -> str:
    """What was wrong and the next step. More special errors come before those they inherit from."""
    if isinstance(error, LocalEntryNotFoundError) and error.__cause__:
        error = error.__cause__
    page = f"{constants.ENDPOINT}/{'datasets/' if repo_type == 'dataset' else ''}{repo}"
    tokens = f"{constants.ENDPOINT}/settings/tokens"
    response = error.response if isinstance(error, HfHubHTTPError) else None
    status = None if response is None else response.status_code
    detail = "" if response is None else response.headers.get("X-Error-Message", "")

    if isinstance(error, HFValidationError):
        return f"{repo!r} is not a hub id; those have the form owner/name, like bigcode/starcoder."
    if isinstance(error, OfflineModeIsEnabled):
        return (
            f"HF_HUB_OFFLINE is set, and {filename} of {repo} is not in the cache "
            f"{constants.HF_HUB_CACHE}: unset it, or start once with a network."
        )
    if status == 403 and "fine-grained" in detail:
        return (
            f"{repo} is gated and your fine-grained token may not read gated repositories: at "
            f"{tokens}, give it read access to public gated repositories, and start again."
        )
    if status == 401 and get_token():
        return (
            f"The hub does not accept your token: make a new one at {tokens} and set it as "
            "HF_TOKEN."
        )
    if isinstance(error, GatedRepoError) and status == 401:
        return (
            f"{repo} is gated and there is no token: accept its licence at {page}, make a token at "
            f"{tokens}, set it as HF_TOKEN, and start again."
        )
    if isinstance(error, GatedRepoError):
        return (
            f"{repo} is gated and your token's account has no access to it: log in with that "
            f"account, accept the licence at {page}, and start again; another account's token "
            f"(from {tokens}) can be set as HF_TOKEN."
        )
    if isinstance(error, RepositoryNotFoundError):
        return (
            f"The hub has no {repo_type} {repo} that you may read: check the name, and if it is "
            f"private, make a token at {tokens} and set it as HF_TOKEN."
        )
    if isinstance(error, RevisionNotFoundError):
        return f"{repo} has no revision {revision!r}: choose a branch, tag or commit at {page}."
    if isinstance(error, RemoteEntryNotFoundError):
        return f"{repo} has no file {filename}: see at {page} what it holds."
    if status in (401, 403):
        return (
            f"The hub refuses access to {repo} ({status}): check your account's access at {page}."
        )
    if status:
        return f"The hub answered {status} for {filename} of {repo}: try again later."
    return _transport_sentence(error, repo, filename)


def _transport_sentence(error: BaseException, repo: str, filename: str) -> str:
    """For what is neither an answer of the hub nor a question that cannot be asked."""
    name = type(error).__name__
    no_space = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
    if no_space or (isinstance(error, UserWarning) and str(error).startswith(_NO_SPACE)):
        return (
            f"The disk with the hub's cache {constants.HF_HUB_CACHE} is too full for {repo}: free "
            "some space, or set HF_HOME to a folder on a larger disk."
        )
    if isinstance(error, OSError) and error.errno:
        return (
            f"The hub's cache {constants.HF_HUB_CACHE} cannot be used ({error.strerror}): make it "
            "writable, or set HF_HOME to a folder that is."
        )
    if name in ("RemoteProtocolError", "ReadError") or "Consistency check failed" in str(error):
        return f"The download from {repo} was cut off before its end: start again to fetch it anew."
    why = "did not answer in time" if "Timeout" in name else f"cannot be reached ({name})"
    return (
        f"The hub at {constants.ENDPOINT} {why}, and {filename} of {repo} is not in the cache: "
        "check the network connection and the proxy settings, and start again."
    )
