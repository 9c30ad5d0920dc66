"""The least that a WSGI server can do: read the body, answer a constant of the usual size."""

ANSWER = (
    b'{"predictions":[{"label":"Adelie","probabilities":{"Adelie":0.9999874561310012,'
    b'"Chinstrap":8.712345678901234e-06,"Gentoo":3.831523319800121e-06},"flags":[]}],'
    b'"model":{"name":"penguins","version":"1"},"request_id":"0123456789abcdef0123456789abcdef"}'
)


def app(environ, start_response):
    environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"]))
    headers = [("Content-Type", "application/json"), ("Content-Length", str(len(ANSWER)))]
    start_response("200 OK", headers)
    return [ANSWER]
