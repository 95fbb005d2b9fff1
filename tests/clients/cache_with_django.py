"""A cache and sessions as a site would have them, through django-redis. Argument: the port of the store. What it
prints must not depend on which store that is."""

import sys
import time

import django
from django.conf import settings

URL = f"redis://127.0.0.1:{sys.argv[1]}"


def cache(number, **options):
    return {
        "BACKEND": "django_redis.cache.RedisCache",
        "LOCATION": f"{URL}/{number}",
        "OPTIONS": {"CLIENT_CLASS": "django_redis.client.DefaultClient", **options},
    }


settings.configure(
    CACHES={
        "default": cache(1),
        "packed": cache(
            2,
            COMPRESSOR="django_redis.compressors.zlib.ZlibCompressor",
            SERIALIZER="django_redis.serializers.json.JSONSerializer",
        ),
        "shards": {
            "BACKEND": "django_redis.cache.RedisCache",
            "LOCATION": [f"{URL}/3", f"{URL}/4"],
            "OPTIONS": {"CLIENT_CLASS": "django_redis.client.ShardClient"},
        },
    },
    SESSION_ENGINE="django.contrib.sessions.backends.cache",
    SECRET_KEY="secret",
    USE_TZ=True,
)
django.setup()

from django.contrib.sessions.backends.cache import SessionStore
from django.core.cache import caches
from django_redis import get_redis_connection

for name in ("default", "packed", "shards"):
    site = caches[name]
    site.clear()
    site.set("text", "väl", timeout=100)
    site.set_many({"a": 1, "b": [1, 2], "c": {"d": None}})
    print(name, site.get("text"), sorted(site.get_many(["a", "b", "c", "no"]).items()), site.get("no", 7))
    print(site.add("text", "other"), site.add("new", True), site.has_key("new"), site.touch("new", 50))
    print(50 - site.ttl("new") < 5, site.ttl("a") > 200, site.ttl("no"), site.persist("new"), site.ttl("new"))
    site.set("n", 10)
    print(site.incr("n"), site.decr("n", 5), site.get("n"))
    try:
        site.incr("missing")
    except ValueError as error:
        print(type(error).__name__)
    site.set("short", 1, timeout=0.02)
    end = time.time() + 10
    while site.get("short") is not None and time.time() < end:
        time.sleep(0.005)
    print(site.get("short"), site.delete("text"), site.delete("text"), site.delete_many(["a", "b"]))
    print(site.get_or_set("made", lambda: "once"), site.get_or_set("made", lambda: "twice"))
    site.set("made", 2, version=2)
    print(site.get("made"), site.get("made", version=2), site.incr_version("made"), site.get("made"))

site = caches["default"]
site.set_many({f"page:{n}": n for n in range(50)})
print(len(site.keys("page:*")), len(list(site.iter_keys("page:*", itersize=7))), site.delete_pattern("page:1*"))
print(site.set("once", 1, nx=True), site.set("once", 2, nx=True), site.expire("once", 30), site.pttl("once") > 20_000)
with site.lock("lock", timeout=10, blocking_timeout=1):
    print(site.lock("lock", timeout=1, blocking_timeout=0.05).acquire())
print(site.has_key("lock"))
print(site.sadd("set", 1, 2, 3), site.scard("set"), site.sismember("set", 2), sorted(site.smembers("set")))
print(site.hset("hash", "field", "value") if hasattr(site, "hset") else None)
raw = get_redis_connection("default")
print(raw.type(site.make_key("set")).decode(), raw.connection_pool.connection_kwargs["db"])

session = SessionStore()
session["user"] = {"name": "ann", "seen": 3}
session.set_expiry(300)
session.save()
again = SessionStore(session_key=session.session_key)
print(again["user"], again.exists(session.session_key))
again.cycle_key()
print(SessionStore(session_key=session.session_key).get("user"), again["user"]["name"])
again.flush()
print(again.session_key)
