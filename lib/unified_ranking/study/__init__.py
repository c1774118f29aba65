"""What the chapter alone needs: its data, worlds, arms, loads and figures."""
