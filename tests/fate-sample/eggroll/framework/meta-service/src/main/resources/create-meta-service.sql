-- One of upstream's five tables; the sample opens no database.
CREATE DATABASE IF NOT EXISTS eggroll_meta;
USE eggroll_meta;
CREATE TABLE IF NOT EXISTS node (id BIGINT PRIMARY KEY AUTO_INCREMENT, host VARCHAR(255) NOT NULL, port INT NOT NULL);
