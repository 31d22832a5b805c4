"""What a bundle says of its engines, read from the files beside them."""

from __future__ import annotations

from ftsf_export.bundle import Bundle, EngineEntry
from ftsf_export.config import BatchRange
from ftsf_export.errors import BundleError
from ftsf_export.plan_record import Sidecar
from ftsf_export.strict_json import json_from_bytes, structured


def sidecar_of(bundle: Bundle, engine: EngineEntry) -> Sidecar:
    """Raises BundleError where it does not read."""
    source = f"{bundle.path}: {engine.sidecar}"
    return structured(json_from_bytes(bundle.read(engine.sidecar), source), Sidecar, source)


def profile_of(bundle: Bundle, engine: EngineEntry) -> BatchRange:
    """How many clips the engine takes in a call, which may be fewer or more than the bundle's own numbers."""
    sidecar = sidecar_of(bundle, engine)
    clips = [shape[0] for name in ("min", "opt", "max") if (shape := sidecar.profile.get(name))]
    if len(clips) != 3 or BatchRange(*clips).problem():
        where = f"{bundle.path}: {engine.sidecar}"
        raise BundleError(f"{where}: profile: expected a shape as min, opt and max, got {dict(sidecar.profile)}")
    return BatchRange(*clips)
