ready ratings
