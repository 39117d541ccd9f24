def act(round_):
    pass
