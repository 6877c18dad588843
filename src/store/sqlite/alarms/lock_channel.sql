-- The state of the channel ?1. The transaction of the one writer is the lock.
select {channel}
from alarm_channels as c
where c.channel = ?1
