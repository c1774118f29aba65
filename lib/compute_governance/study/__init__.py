"""What only the notebooks of this chapter need: arrangements, tables, peers and figures."""
