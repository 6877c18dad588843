# PostgreSQL and Redis for one run: private, on free loopback ports, in $folder. bench/run and
# bench/check source this file. They set $folder, call stop_servers on every exit, and define die.
# shellcheck shell=bash disable=SC2034,SC2154

postgres_data='' redis_pid=''

# Puts the newest PostgreSQL first in PATH: Debian keeps its programs outside.
find_servers() {
  local bin
  bin=$(printf '%s\n' /usr/lib/postgresql/*/bin | sort -V | tail -n 1)
  [[ -x $bin/pg_ctl ]] && PATH=$bin:$PATH
  local program
  for program in initdb pg_ctl pgbench psql redis-server redis-cli; do
    command -v "$program" >/dev/null || die "$program is missing (Debian: apt-get install postgresql redis-server)"
  done
}

# Sets database_url (of the maintenance database), database_base (to add a name to) and postgres_pid.
start_postgres() {
  local data=$folder/postgres password port
  password=$(secret)
  mkdir "$data"
  printf '%s' "$password" >"$data/password"
  owned_by_server_user "$data" "$data/password"
  as_server_user initdb --pgdata "$data/data" --username bench --pwfile "$data/password" \
    --auth scram-sha-256 --encoding UTF8 --locale C.UTF-8 >"$folder/initdb.log" 2>&1 || die_with "$folder/initdb.log" "initdb failed"
  for _ in 1 2 3 4 5; do
    port=$(free_port)
    # Its defaults, which are durable, but more connections: 256 clients and a few more.
    if as_server_user "$(command -v pg_ctl)" start --pgdata "$data/data" --wait --timeout 60 --silent --log "$data/log" \
      --options "-h 127.0.0.1 -p $port -c unix_socket_directories= -c max_connections=400" >/dev/null; then
      postgres_data=$data/data
      database_base=postgres://bench:$password@127.0.0.1:$port
      database_url=$database_base/postgres
      postgres_pid=$(head -n 1 "$postgres_data/postmaster.pid")
      return
    fi
  done
  die_with "$data/log" "PostgreSQL did not start"
}

# Sets redis_url and redis_pid.
start_redis() {
  local data=$folder/redis password port deadline
  password=$(secret)
  mkdir "$data"
  owned_by_server_user "$data"
  for _ in 1 2 3 4 5; do
    port=$(free_port)
    printf 'bind 127.0.0.1\nport %s\nrequirepass %s\ndir "%s"\nsave ""\n' "$port" "$password" "$data" >"$folder/redis.conf"
    as_server_user redis-server - <"$folder/redis.conf" >"$folder/redis.log" 2>&1 &
    redis_pid=$!
    redis_url=redis://default:$password@127.0.0.1:$port/
    deadline=$((SECONDS + 20))
    while kill -0 "$redis_pid" 2>/dev/null && ((SECONDS < deadline)); do
      [[ $(redis ping 2>/dev/null) == PONG ]] && return
      sleep 0.05
    done
  done
  die_with "$folder/redis.log" "Redis did not start"
}

stop_servers() {
  if [[ -n $postgres_data ]]; then
    as_server_user "$(command -v pg_ctl)" stop --pgdata "$postgres_data" --mode immediate --silent || true
  fi
  end_process "$redis_pid"
}

sql() {
  psql --no-psqlrc --quiet --tuples-only --no-align --set ON_ERROR_STOP=1 "$@"
}

redis() {
  redis-cli --no-auth-warning -u "$redis_url" "$@"
}

# Ends a process with TERM, and after thirty seconds with KILL.
end_process() {
  [[ -n $1 ]] || return 0
  kill -TERM "$1" 2>/dev/null || return 0
  local deadline=$((SECONDS + 30))
  while kill -0 "$1" 2>/dev/null && ((SECONDS < deadline)); do sleep 0.05; done
  kill -KILL "$1" 2>/dev/null || true
  wait "$1" 2>/dev/null || true
}

# PostgreSQL refuses to run as root.
server_user() {
  ((EUID == 0)) || return 0
  local user
  for user in postgres nobody; do
    id "$user" >/dev/null 2>&1 && echo "$user" && return
  done
  die "run as root, and there is no user postgres or nobody to run PostgreSQL as"
}

# exec in the background keeps $! the server's own process id.
as_server_user() {
  local user
  user=$(server_user)
  if [[ -z $user ]]; then "$@"; else setpriv --reuid "$user" --regid "$(id -g "$user")" --clear-groups -- "$@"; fi
}

owned_by_server_user() {
  local user
  user=$(server_user)
  chmod go= "$@"
  [[ -z $user ]] || chown "$user" "$@"
}

# Below the ports that the kernel gives to outgoing connections, so that none is taken meanwhile.
free_port() {
  local port
  for _ in {1..100}; do
    port=$((RANDOM % 20000 + 10000))
    (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null || { echo "$port" && return; }
  done
  die "no free port"
}

secret() {
  od -An -N16 -tx1 /dev/urandom | tr -d ' \n'
}
