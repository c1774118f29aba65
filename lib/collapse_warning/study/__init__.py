"""What only the chapter's notebooks need: the paper's tables, panels, peers and figures."""
