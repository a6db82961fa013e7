"""Energy, area and cost of process nodes, HBM, links and packages. No particular chip here."""
