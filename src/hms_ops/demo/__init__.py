"""The refund rush, told by real parts: an engine, three services as processes, an SMS gateway and an action service.

    load       what the rush does to the database, as pure functions of time
    service    one simulated service: `python -m hms_ops.demo.service`, sends datagrams, takes cues on standard input
    cast       the three services as processes of the demo
    loopback   a JSON service on a free port of loopback
    gateway    the SMS gateway's stand-in
    actions    the action service's stand-in
    story      the eight events in their order, and what of the engine tells them
    screen     the story for people and for machines
    main       puts them together

Nothing here is faked towards the engine: it sees datagrams and HTTP answers as it would in production, and the latency
falls because the action service scales what the database's process simulates.
"""
