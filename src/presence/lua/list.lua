-- Notes that a node may have a share on a channel.
-- KEYS: the node's channels.  ARGV: the channel, the end of the lease as last confirmed.
return {enter(KEYS[1], ARGV[1], ARGV[2]) and 'ok' or 'late', '0', '0', ''}
