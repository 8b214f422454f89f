ready search
