"""The entry point of `python -m dynamic_predictor.parity NAME ...`."""

from dynamic_predictor.parity.run import main

if __name__ == "__main__":
    raise SystemExit(main())
