"""The page at /docs: at home, under a strict policy."""

import re


def test_the_page_loads_nothing_from_elsewhere(client):
    page = client.get("/docs/")
    policy = page.headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; script-src 'self' 'sha256-")
    assert not re.search(r'(src|href)="(https?:)?//', page.text)
    assert re.search(r'"validatorUrl": null', page.text)  # a badge of another host
    assets = re.findall(r'(?:src|href)="\./([^"]+)"', page.text)
    assert len(assets) >= 3
    for asset in assets:
        answer = client.get(f"/docs/{asset}")
        assert (answer.status_code, answer.headers["X-Content-Type-Options"]) == (200, "nosniff")
        answer.close()
    # An address of the Host header never reaches the script, whose digest is allowed.
    other = client.get("/docs/", headers={"Host": "evil.example"})
    assert other.headers["Content-Security-Policy"] == policy
