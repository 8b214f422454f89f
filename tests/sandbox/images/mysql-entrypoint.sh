#!/bin/bash
# Stands in for the entrypoint of docker.io/library/mysql: same variables, same init folder, MariaDB underneath.
set -euo pipefail

[ "${1:0:1}" != - ] || set -- mysqld "$@"
if [ "$1" != mysqld ] && [ "$1" != mariadbd ]; then
    exec "$@"
fi
shift
data=/var/lib/mysql

quote() { # as an SQL string
    local text=${1//\\/\\\\}
    printf "'%s'" "${text//\'/\\\'}"
}

if [ ! -d "$data/mysql" ]; then
    if [ -z "${MYSQL_ROOT_PASSWORD:-}${MYSQL_ALLOW_EMPTY_PASSWORD:-}" ]; then
        echo "error: the database is uninitialized and no password is set: give MYSQL_ROOT_PASSWORD" >&2
        exit 1
    fi
    chown -R mysql:mysql "$data"
    mariadb-install-db --user=mysql --datadir="$data" --skip-test-db --auth-root-authentication-method=normal > /dev/null
    socket=/run/mysqld/init.sock
    mariadbd --user=mysql --datadir="$data" --skip-networking --socket="$socket" &
    server=$!
    sql() { mariadb --protocol=socket --socket="$socket" -uroot "$@"; }
    for _ in $(seq 300); do
        ! sql -e 'select 1' > /dev/null 2>&1 || break
        kill -0 "$server" # ends the script when the server has ended
        sleep 0.1
    done
    [ -z "${MYSQL_DATABASE:-}" ] || sql -e "CREATE DATABASE IF NOT EXISTS \`$MYSQL_DATABASE\`"
    if [ -n "${MYSQL_USER:-}" ] && [ -n "${MYSQL_PASSWORD:-}" ]; then
        sql -e "CREATE USER $(quote "$MYSQL_USER")@'%' IDENTIFIED BY $(quote "$MYSQL_PASSWORD")"
        [ -z "${MYSQL_DATABASE:-}" ] || sql -e "GRANT ALL ON \`$MYSQL_DATABASE\`.* TO $(quote "$MYSQL_USER")@'%'"
    fi
    for file in /docker-entrypoint-initdb.d/*; do
        case $file in
        *.sh) . "$file" ;;
        *.sql) sql ${MYSQL_DATABASE:+"$MYSQL_DATABASE"} < "$file" ;;
        *.sql.gz) gunzip -c "$file" | sql ${MYSQL_DATABASE:+"$MYSQL_DATABASE"} ;;
        esac
    done
    password=$(quote "${MYSQL_ROOT_PASSWORD:-}")
    sql -e "CREATE USER root@'%' IDENTIFIED BY $password; GRANT ALL ON *.* TO root@'%' WITH GRANT OPTION;
            ALTER USER root@localhost IDENTIFIED BY $password"
    kill "$server"
    wait "$server"
fi
exec mariadbd --user=mysql --datadir="$data" --bind-address=0.0.0.0 --socket=/run/mysqld/mysqld.sock "$@"
