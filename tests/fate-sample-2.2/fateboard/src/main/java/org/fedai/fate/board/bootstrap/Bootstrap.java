package org.fedai.fate.board.bootstrap;

import com.sun.net.httpserver.HttpServer;
import java.io.File;
import java.io.FileReader;
import java.net.InetSocketAddress;
import java.util.Properties;

/** Answers HTTP on server.port. Ends with 1 without its pages, its components (dag/) or ssh.properties. */
public final class Bootstrap {
    private Bootstrap() {}

    public static void main(String[] args) throws Exception {
        Properties conf = new Properties();
        try (FileReader file = new FileReader(System.getProperty("spring.config.location").replace("file:", ""))) {
            conf.load(file);
        }
        boolean pages = Bootstrap.class.getResource("/static/index.html") != null;
        if (!pages || !new File("dag").isDirectory() || !new File(System.getProperty("ssh_config_file"), "ssh.properties").isFile()) {
            System.err.println("fateboard: error: its pages, dag/ or ssh.properties are not there");
            System.exit(1);
        }
        HttpServer server = HttpServer.create(new InetSocketAddress(Integer.parseInt(conf.getProperty("server.port"))), 0);
        server.createContext("/", exchange -> {
            exchange.sendResponseHeaders(200, -1);
            exchange.close();
        });
        server.start();
        System.out.println("fateboard listens on port " + conf.getProperty("server.port"));
    }
}
