-- Sends one request over and over, given in the environment, and prints what came back as JSON.
wrk.method = os.getenv("LOAD_METHOD")
wrk.body = os.getenv("LOAD_BODY")
wrk.headers["Authorization"] = os.getenv("LOAD_AUTHORIZATION")
wrk.headers["Cookie"] = os.getenv("LOAD_COOKIE")
if wrk.body then
  wrk.headers["Content-Type"] = "application/x-www-form-urlencoded"
end

-- Several authorizations, by commas: one after the other.
local several = os.getenv("LOAD_AUTHORIZATIONS")
if several then
  local requests, last = {}, 0
  function init()
    for authorization in several:gmatch("[^,]+") do
      wrk.headers["Authorization"] = authorization
      requests[#requests + 1] = wrk.format()
    end
  end
  function request()
    last = last % #requests + 1
    return requests[last]
  end
end

function done(summary, latency)
  local lost = summary.errors.connect + summary.errors.read + summary.errors.write + summary.errors.timeout
  io.write(string.format(
    'LOAD {"answers": %d, "refused": %d, "lost": %d, "seconds": %.6f, "p50": %.3f, "p99": %.3f, "bytes": %d}\n',
    summary.requests, summary.errors.status, lost, summary.duration / 1e6,
    latency:percentile(50) / 1e3, latency:percentile(99) / 1e3, summary.bytes))
end
