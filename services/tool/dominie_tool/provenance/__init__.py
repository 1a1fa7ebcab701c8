"""Where the arguments of calls came from: what each run was given."""
