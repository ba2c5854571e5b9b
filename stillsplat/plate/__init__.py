"""The plate: the clip at full size without what moves, its own pixels untouched wherever nothing moves.

`stage.make_plate` is the way in."""
