"""The way of a governed action: decided, limited, approved, done and recorded."""
