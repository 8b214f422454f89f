CREATE TABLE IF NOT EXISTS server_node (server_node_id SERIAL PRIMARY KEY, node_type VARCHAR(255), status VARCHAR(255));
