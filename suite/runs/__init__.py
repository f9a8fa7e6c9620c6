"""What a run is: spec, presets, resolved config, identity, directory."""
