"""Does a model prefer syntax, or what lies on the surface? The design of the Mixed Signals Generalization Set."""
