package com.webank.eggroll.core.resourcemanager;

import com.webank.eggroll.core.BootstrapBase;
import com.webank.eggroll.core.server.LineServer;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;

/** The table of nodes. As upstream's, it does not start without its database. */
public final class ClusterManagerBootstrap implements BootstrapBase {
    private static final String KEY = "eggroll.resourcemanager.clustermanager.jdbc.";

    @Override
    public void start(String conf, String port) {
        LineServer server = new LineServer("clustermanager", conf);
        String url = server.get(KEY + "url", "");
        server.log("database " + url);
        try (Connection connection = connection(server)) {
            server.log("database answers");
        } catch (SQLException failed) {
            LineServer.fail("clustermanager", 1, url + ": " + failed.getMessage().split("\n")[0]);
        }
        server.serve(port, question -> {
            if (question.equals("mysql")) {
                return "mysql ok, a node at " + node(server, "%");
            }
            if (question.startsWith("node ")) {
                return register(server, question.split(" "));
            }
            // Upstream's asks a node manager for the egg pairs of a session.
            boolean pair = question.equals("egg_pair");
            String type = pair ? "NODE_MANAGER" : question.replaceFirst("manager$", "_manager").toUpperCase();
            String node = node(server, type);
            return node.startsWith("error")
                    ? node
                    : LineServer.ask(node.split(":")[0], node.split(":")[1], pair ? question : "");
        });
    }

    /** A node manager that has come forward: {@code node HOST PORT}. */
    private static String register(LineServer server, String[] words) throws SQLException {
        String insert = "INSERT INTO server_node (host, port, node_type, status) VALUES (?, ?, 'NODE_MANAGER', 'HEALTHY')";
        try (Connection connection = connection(server);
                PreparedStatement statement = connection.prepareStatement(insert)) {
            statement.setString(1, words[1]);
            statement.setString(2, words[2]);
            statement.executeUpdate();
            return "node ok";
        }
    }

    private static Connection connection(LineServer server) throws SQLException {
        return DriverManager.getConnection(
                server.get(KEY + "url", ""), server.get(KEY + "username", ""), server.get(KEY + "password", ""));
    }

    private static String node(LineServer server, String type) throws SQLException {
        String query = "SELECT host, port FROM server_node WHERE node_type LIKE ? ORDER BY server_node_id DESC LIMIT 1";
        try (Connection connection = connection(server);
                PreparedStatement statement = connection.prepareStatement(query)) {
            statement.setString(1, type);
            ResultSet found = statement.executeQuery();
            return found.next() ? found.getString(1) + ":" + found.getInt(2) : "error: no node of type " + type;
        }
    }
}
