"""Where tests find the repository, their own data and the goldens beside the repository."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
DATA = ROOT / "tests" / "data"
#: goldens, real clips and rendered scenes, on developers' machines only: tests ask for them by the fixture `shared`
SHARED = ROOT.parent / "shared"
