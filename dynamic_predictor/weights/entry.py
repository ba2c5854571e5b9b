"""Description of one published file of weights."""

from dataclasses import dataclass

#: licenses that several systems share
NON_COMMERCIAL = "CC BY-NC 4.0 (no commercial use)"
DUST3R_FAMILY = "CC BY-NC-SA 4.0 (no commercial use), as DUSt3R and CroCo from which it was trained"


@dataclass(frozen=True)
class WeightsFile:
    """One published file of weights.

    `file` is its path in the hub `repository`, in the archive at `url`, or its name on the web `page`. `inventory` is
    the name of the table of keys and shapes that the file must have. `companions` are files beside it in the
    repository. `other_names` are other official file names of the same weights (in another format). `in_torch_hub`: it
    is stored in torch's download folder, because other packages search it there.
    """

    name: str
    system: str
    purpose: str
    license: str
    file: str
    repository: str | None = None
    revision: str | None = None
    url: str | None = None
    page: str | None = None
    size: int | None = None
    sha256: str | None = None
    inventory: str | None = None
    companions: tuple[str, ...] = ()
    other_names: tuple[str, ...] = ()
    in_torch_hub: bool = False

    @property
    def source(self) -> str:
        """The web address where the file is published."""
        if self.repository is not None:
            return f"https://huggingface.co/{self.repository}"
        return self.url or self.page or ""

    @property
    def is_verified(self) -> bool:
        """Whether its SHA-256 is known here, so that a file that was replaced, by anybody, is noticed."""
        return self.sha256 is not None

    @property
    def verification(self) -> str:
        """By what a download is checked, for people."""
        if self.is_verified:
            return "SHA-256"
        checked = "size, " if self.size is not None else ""
        checked += "keys and shapes" if self.inventory is not None else "values"
        pinned = f"revision {self.revision[:12]}" if self.revision else "whatever is published at the time"
        return f"UNVERIFIED: no SHA-256 is known, only {checked} are checked ({pinned})"

    @property
    def file_name(self) -> str:
        return self.file.rsplit("/", 1)[-1]


def is_generic(file_name: str) -> bool:
    """Whether many repositories use this file name, so that it does not identify the weights."""
    return file_name in {"model.safetensors", "model.pt", "checkpoints.pth"}


def local_names(entry: WeightsFile) -> list[str]:
    """Paths relative to a weights folder where the file of `entry` is searched; downloads are stored at the first."""
    names = [f"{entry.name}/{entry.file_name}"]
    names += [f"{entry.name}/{other}" for other in entry.other_names]
    if not is_generic(entry.file_name):
        names.append(entry.file_name)
    names += [other for other in entry.other_names if not is_generic(other)]
    names.append(entry.name + "." + entry.file_name.rsplit(".", 1)[-1])
    return names
