package com.webank.ai.fate.board.bootstrap;

import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpServer;
import java.io.ByteArrayOutputStream;
import java.io.File;
import java.io.FileReader;
import java.io.IOException;
import java.io.InputStream;
import java.io.Reader;
import java.net.InetSocketAddress;
import java.nio.charset.StandardCharsets;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.SQLException;
import java.time.LocalDateTime;
import java.util.Properties;

/**
 * Serves one page over HTTP. Takes upstream's two system properties: spring.config.location, the properties file, and
 * ssh_config_file, the directory of ssh.properties, which upstream reads late: a missing one is told, and does no harm.
 */
public final class Bootstrap {
    private Bootstrap() {}

    public static void main(String[] args) throws IOException {
        Properties conf = conf();
        File ssh = new File(System.getProperty("ssh_config_file", "."), "ssh.properties");
        log(ssh + (ssh.isFile() ? "" : " is missing"));
        byte[] page = page();

        int port = Integer.parseInt(conf.getProperty("server.port", "8080").trim());
        HttpServer server = HttpServer.create(new InetSocketAddress(port), 0);
        server.createContext("/", exchange -> answer(exchange, 200, page));
        server.createContext("/job/query/status", exchange -> jobs(exchange, conf));
        server.start();
        Runtime.getRuntime().addShutdownHook(new Thread(() -> log("stopping")));
        log("1.3.0 listening on port " + port);
    }

    private static void answer(HttpExchange exchange, int code, byte[] page) throws IOException {
        exchange.getResponseHeaders().set("Content-Type", "text/html; charset=utf-8");
        boolean head = exchange.getRequestMethod().equals("HEAD");
        exchange.sendResponseHeaders(code, head ? -1 : page.length);
        if (!head) {
            exchange.getResponseBody().write(page);
        }
        exchange.close();
    }

    /** Upstream reads the jobs from fate_flow's tables; all that this one asks the database is to be there. */
    private static void jobs(HttpExchange exchange, Properties conf) throws IOException {
        String key = "spring.datasource.";
        try (Connection opened = DriverManager.getConnection(
                conf.getProperty(key + "url"), conf.getProperty(key + "username"), conf.getProperty(key + "password"))) {
            answer(exchange, 200, "{\"code\": 0, \"msg\": \"success\"}".getBytes(StandardCharsets.UTF_8));
        } catch (SQLException failed) {
            log("database: " + failed);
            answer(exchange, 500, failed.getMessage().getBytes(StandardCharsets.UTF_8));
        }
    }

    private static byte[] page() throws IOException {
        ByteArrayOutputStream whole = new ByteArrayOutputStream();
        try (InputStream part = Bootstrap.class.getResourceAsStream("/static/index.html")) {
            for (int one = part.read(); one >= 0; one = part.read()) {
                whole.write(one);
            }
        }
        return whole.toByteArray();
    }

    private static Properties conf() {
        String path = System.getProperty("spring.config.location");
        if (path == null) {
            fail("-Dspring.config.location=FILE is missing");
        }
        Properties read = new Properties();
        try (Reader reader = new FileReader(path)) {
            read.load(reader);
        } catch (IOException missing) {
            fail("cannot read " + new File(path).getAbsolutePath() + ": " + missing.getMessage());
        }
        return read;
    }

    private static void log(String message) {
        System.out.println(LocalDateTime.now().withNano(0) + " fateboard " + message);
    }

    private static void fail(String message) {
        System.err.println("fateboard: error: " + message);
        System.exit(1);
    }
}
