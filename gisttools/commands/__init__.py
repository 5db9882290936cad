"""The subcommands of `gisttools`, one module each; `gisttools.cli` puts them together."""
