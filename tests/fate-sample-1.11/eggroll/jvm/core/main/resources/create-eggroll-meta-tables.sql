-- Upstream's seven tables, with the columns that the sample has a use for. MySQL's database is the caller's.
CREATE TABLE IF NOT EXISTS store_locator (store_locator_id SERIAL PRIMARY KEY, namespace VARCHAR(2000) NOT NULL, name VARCHAR(2000) NOT NULL);
CREATE TABLE IF NOT EXISTS store_option (store_locator_id BIGINT UNSIGNED NOT NULL, name VARCHAR(255) NOT NULL);
CREATE TABLE IF NOT EXISTS store_partition (store_partition_id SERIAL PRIMARY KEY, store_locator_id BIGINT UNSIGNED NOT NULL);
CREATE TABLE IF NOT EXISTS server_node (
  server_node_id SERIAL PRIMARY KEY, host VARCHAR(1000) NOT NULL, port INT NOT NULL, node_type VARCHAR(255) NOT NULL, status VARCHAR(255) NOT NULL
);
CREATE TABLE IF NOT EXISTS session_main (session_id VARCHAR(255) PRIMARY KEY, status VARCHAR(255) NOT NULL);
CREATE TABLE IF NOT EXISTS session_option (session_id VARCHAR(255) NOT NULL, name VARCHAR(255) NOT NULL);
CREATE TABLE IF NOT EXISTS session_processor (processor_id SERIAL PRIMARY KEY, session_id VARCHAR(255) NOT NULL);
