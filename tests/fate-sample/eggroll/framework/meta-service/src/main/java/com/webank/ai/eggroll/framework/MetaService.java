package com.webank.ai.eggroll.framework;

import com.webank.ai.eggroll.core.server.LineServer;
import java.io.IOException;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;

/** {@code -c conf/meta-service.properties}: the table of nodes; its database is opened when somebody asks for one. */
public final class MetaService {
    private MetaService() {}

    public static void main(String[] args) throws IOException {
        LineServer server = new LineServer("meta-service", args);
        server.log("database " + server.get("jdbc.url", ""));
        server.serve("service.port", question -> {
            String type = question.equals("mysql") ? "%" : question.replaceFirst("^node ", "");
            String node = node(server, type);
            return question.equals("mysql") ? "mysql ok, a node at " + node : node;
        });
    }

    private static String node(LineServer server, String type) throws SQLException {
        String query = "SELECT ip, port FROM node WHERE type LIKE ? ORDER BY node_id LIMIT 1";
        try (Connection connection = DriverManager.getConnection(
                        server.get("jdbc.url", ""), server.get("jdbc.username", ""), server.get("jdbc.password", ""));
                PreparedStatement statement = connection.prepareStatement(query)) {
            statement.setString(1, type);
            ResultSet found = statement.executeQuery();
            return found.next() ? found.getString(1) + ":" + found.getInt(2) : "error: no node of type " + type;
        }
    }
}
